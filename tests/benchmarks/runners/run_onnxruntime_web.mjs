// Runs ONNX Runtime Web, its WebAssembly, under Node: FILE PIXELS OUT, as the scripts in Python beside it.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [file, pixels, out] = process.argv.slice(2);
const ort = createRequire(`${process.cwd()}/`)("onnxruntime-web"); // of the folder in which npm installed it
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(file));
const npy = readFileSync(pixels);
const header = npy.toString("latin1", 10, 10 + npy.readUInt16LE(8));
const [count, ...shape] = /'shape': \(([^)]*)\)/.exec(header)[1].split(",").map(Number);
const length = shape.reduce((product, n) => product * n);
const outputs = {};
for (let row = 0; row < count; row++) {
  const start = 10 + header.length + row * length;
  const images = new ort.Tensor("uint8", new Uint8Array(npy.subarray(start, start + length)), [1, ...shape]);
  for (const [name, tensor] of Object.entries(await session.run({ images }))) {
    (outputs[name] ??= []).push([...tensor.data]);
  }
}
writeFileSync(out, JSON.stringify(outputs));
