"""What people read: headings, sentences, tables, formulas, pictures and code, and two renderers that walk them."""
