// Run by bench/web.py: the artefacts of a folder through ONNX Runtime Web, on WebAssembly and one thread.
import fs from 'fs';
import path from 'path';
import { createRequire } from 'module';
import { pathToFileURL } from 'url';

const folder = path.resolve(process.argv[2]);
const entry = createRequire(path.join(folder, 'package.json')).resolve('onnxruntime-web/wasm');
const imported = await import(pathToFileURL(entry));
const ort = imported.default ?? imported;
const bytes = (name) => new Uint8Array(fs.readFileSync(path.join(folder, name))).buffer; // a copy: Node pools small files
const { precisions, count, keep, edge } = JSON.parse(fs.readFileSync(path.join(folder, 'cases.json')));
const pixels = new Float32Array(bytes('pixels.bin'));
ort.env.wasm.numThreads = 1;
for (const precision of precisions) {
  const model = new Uint8Array(bytes(`${precision}/model.onnx`));
  const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'] });
  const expected = new Int32Array(bytes(`${precision}.kept`));
  let same = 0;
  let shared = 0;
  for (let i = 0; i < count; i++) {
    const size = 3 * edge * edge;
    const image = new ort.Tensor('float32', pixels.slice(i * size, (i + 1) * size), [1, 3, edge, edge]);
    const kept = Array.from((await session.run({ pixel_values: image })).kept.data, Number);
    const own = Array.from(expected.slice(i * keep, (i + 1) * keep));
    same += own.every((position, k) => position === kept[k]) ? 1 : 0;
    shared += own.filter((position) => kept.includes(position)).length;
  }
  console.log(`| ${precision} | ${same} of ${count} | ${(shared / count / keep).toFixed(3)} |`);
}
