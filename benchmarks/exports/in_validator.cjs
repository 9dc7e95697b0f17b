// Khronos' glTF validator on a .glb (benchmarks/exports/formats.py --check; needs `npm install gltf-validator`).
const fs = require('fs');
const { createRequire } = require('module');
const validator = createRequire(process.cwd() + '/')('gltf-validator');
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])))
  .then((report) => console.log(JSON.stringify(report.issues)));
