"""Steps run as JavaScript: many in one process of Node, with the very numbers that Python sends."""

import base64
import json
import shutil
import subprocess

import numpy as np
import pytest

NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no Node")

MAIN = """
import fs from "node:fs";
const bytes = (text) => new Float64Array(new Uint8Array(Buffer.from(text, "base64")).buffer);
const coded = (array) => Buffer.from(Float64Array.from(array).buffer).toString("base64");
const each = (object, f) => Object.fromEntries(Object.entries(object).map(([name, x]) => [name, f(x, name)]));
const answers = [];
for (const job of JSON.parse(fs.readFileSync(process.argv[2]))) {
  try {
    const { createStep } = await import("data:text/javascript;base64," + Buffer.from(job.module).toString("base64"));
    const s = createStep(job.batch ? { batch: job.batch, sizes: job.sizes } : {});
    each(job.state, (text, name) => s.state[name].set(bytes(text)));
    each(job.check ?? {}, (length, name) => {
      if (s.buffers[name].length !== length) throw new Error(`${name} has length ${s.buffers[name].length}`);
    });
    const outputs = [], states = [];
    for (const { inputs, numbers } of job.steps) {
      each(inputs, (text, name) => s.inputs[name].set(bytes(text)));
      for (const stage of job.stages) (s[stage] ?? s.updates[stage])(numbers);
      outputs.push(each(s.outputs, coded));
      if (job.looked?.includes(outputs.length)) states.push(each(s.state, coded));
    }
    let more = {};
    if (job.then) {
      const another = createStep({ batch: job.then.batch, state: s.state });
      each(job.then.inputs, (text, name) => another.inputs[name].set(bytes(text)));
      another.forward();
      more = each(another.outputs, coded);
    }
    answers.push({ outputs, states, more, state: each(s.state, coded), batch: s.batch });
  } catch (error) {
    answers.push({ error: `${error.name}: ${error.message}` });
  }
}
fs.writeFileSync(process.argv[3], JSON.stringify(answers));
"""


def coded(array):
    return base64.b64encode(np.asarray(array, np.float64).tobytes()).decode()


def decoded(arrays):
    return {name: np.frombuffer(base64.b64decode(text)) for name, text in arrays.items()}


def run_in_node(jobs, folder):
    """What each job answers: its outputs after every step and its state, also after steps `looked` at, or the error."""
    paths = folder / "main.mjs", folder / "jobs.json", folder / "answers.json"
    paths[0].write_text(MAIN, encoding="utf-8")
    paths[1].write_text(json.dumps(jobs), encoding="utf-8")
    subprocess.run([NODE, *map(str, paths)], check=True, capture_output=True, text=True)
    answers = json.loads(paths[2].read_text(encoding="utf-8"))
    for answer in answers:
        if "error" not in answer:
            answer["outputs"] = [decoded(arrays) for arrays in answer["outputs"]]
            answer["state"] = decoded(answer["state"])
            answer["states"] = [decoded(arrays) for arrays in answer["states"]]
    return answers


def job(program, batches, batch=None, stages=("step",), module=None):
    """Steps of a program on these batches, from where its parameters are. batch: if it is another."""
    names = [x.name for x in program.inputs if x.role in ("input", "random")]
    numbers = {name: read(len(batches)) for name, read in program.numbers.items()}
    steps = []
    for k, arrays in enumerate(batches):
        left = iter(arrays)
        asked = [x for x in program.inputs if x.role in ("input", "random")]
        values = [next(left) if x.role == "input" else x.draw() for x in asked]
        inputs = {name: coded(value) for name, value in zip(names, values, strict=True)}
        steps.append({"inputs": inputs, "numbers": {name: rows[k].item() for name, rows in numbers.items()}})
    return {
        "module": program.javascript if module is None else module,
        "state": {name: coded(array) for name, array in program.state.items()},
        "batch": batch,
        "stages": stages,
        "steps": steps,
    }
