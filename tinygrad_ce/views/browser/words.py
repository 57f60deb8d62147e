"""The words of the field, each with the one line that explains it, and the script that links them."""

from tinygrad_ce.report.page import file_text
from tinygrad_ce.views.pages import as_json

WORDS = {
    "accuracy": "The share of rows whose class the network names rightly.",
    "activation": "A bent curve, such as tanh or ReLU, that a neuron puts its sum through.",
    "backpropagation": "The chain rule, from the loss back to every weight, each slope computed once.",
    "backward pass": "From the loss back: each operation passes on how the loss changes with its inputs.",
    "batch": "The rows that are used together for one step. The gradient is their mean.",
    "bias": "The number that a neuron adds to its sum. It moves the border of the neuron without turning it.",
    "chain rule": "Along a path slopes are multiplied; where paths meet, the products are added.",
    "cross-entropy": "The loss for classes: minus the logarithm of the probability of the true class.",
    "dead unit": "A ReLU whose sum is below 0 for every row: it gives 0, and so is its gradient.",
    "epoch": "Once through all training rows.",
    "finite difference": "Move one number a little, see how the loss changes, divide: the slope by hand.",
    "forward pass": "From the inputs to the loss: each operation computes its numbers from those before it.",
    "gradient": "The slope of the loss: by how much it would rise for a small rise of this number.",
    "hidden layer": "A layer between the inputs and the outputs.",
    "learning rate": "How far a step goes: it multiplies the gradient in the update. Also called lr.",
    "logit": "What the last layer gives for a class, before softmax; larger is more likely.",
    "loss": "One number that says how wrong the network is. Training makes it smaller.",
    "mean squared error": "The mean of (prediction - target) squared.",
    "momentum": "The update keeps some of the last update's direction, like a ball that rolls on.",
    "NaN": "Not a number: what 0/0 or infinity - infinity gives. What is computed from it is NaN too.",
    "neuron": "Adds up its inputs times their weights, adds a bias, and bends the sum by its activation.",
    "one-hot": "A class written as a row of zeros with a single 1 at the class.",
    "optimizer": "The rule that makes an update out of the gradients: SGD, Adam and others.",
    "overfitting": "Training rows get better while test rows get worse: rows are learned by heart, not the rule.",
    "ReLU": "An activation: max(0, x). Its slope is 1 above 0, and 0 below.",
    "row": "One example of the data: its features, and what the network should answer.",
    "saturated": "A tanh or sigmoid far out, where its curve is flat: almost no gradient gets through.",
    "SGD": "Gradient descent, the simplest update: weight = weight - learning rate x gradient.",
    "sigmoid": "An activation: 1 / (1 + exp(-x)), from 0 to 1. Its slope is at most 1/4.",
    "slope": "By how much the result changes, divided by how much the input was changed, for small changes.",
    "softmax": "Makes probabilities out of logits: exp of each, divided by their sum.",
    "squared error": "(prediction - target) squared: small errors count little, large ones much.",
    "step": "Forward pass, backward pass, update: once each.",
    "tanh": "An activation: an S from -1 to 1. Its slope is 1 in the middle, almost 0 far out.",
    "tensor": "Numbers in a grid: one number, a row, a table, or more dimensions, together with its gradient.",
    "test row": "A row that is never trained on. It shows whether the network learned the rule.",
    "training row": "A row that the network learns from.",
    "update": "Each weight goes a little against its gradient, so that the loss gets smaller.",
    "vanishing gradient": "Many slopes below 1, multiplied, are almost 0: the first layers hardly learn.",
    "weight": "A number that the network learns: it multiplies an input of a neuron.",
}  # fmt: skip


def words_script() -> str:
    """The script of a page that explains words: what they mean, and `explained(text, seen)`, which links them.

    >>> words_script().startswith("const WORDS = {")
    True
    """
    return f"const WORDS = {as_json(WORDS)};\n{file_text('tinygrad_ce.views.browser', 'words.js')}"
