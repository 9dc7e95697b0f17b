// Vertices of a .glb as three.js has them (benchmarks/exports/formats.py --check; needs `npm install three`).
//   node exports_in_three.mjs head.glb out.bin SECONDS [SECONDS ...]     -> float64 (times, vertices, 3)
import fs from 'fs';
import { pathToFileURL } from 'url';

const folder = pathToFileURL(process.cwd() + '/node_modules/three/').href; // run where three was installed
const THREE = await import(folder + 'build/three.module.js');
const { GLTFLoader } = await import(folder + 'examples/jsm/loaders/GLTFLoader.js');
globalThis.self = globalThis;
globalThis.ProgressEvent = class {};

const [path, out, ...times] = process.argv.slice(2);
const data = fs.readFileSync(path);
const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
new GLTFLoader().parse(buffer, '', (gltf) => {
  const mixer = new THREE.AnimationMixer(gltf.scene);
  mixer.clipAction(gltf.animations[0]).play();
  let mesh;
  gltf.scene.traverse((o) => { if (o.isSkinnedMesh) mesh = o; });
  const n = mesh.geometry.attributes.position.count;
  const all = new Float64Array(n * 3 * times.length), v = new THREE.Vector3();
  times.forEach((t, k) => {
    mixer.setTime(Number(t));
    gltf.scene.updateMatrixWorld(true);
    mesh.skeleton.update();
    for (let i = 0; i < n; i++) {
      mesh.getVertexPosition(i, v).applyMatrix4(mesh.matrixWorld);
      all.set([v.x, v.y, v.z], 3 * (k * n + i));
    }
  });
  fs.writeFileSync(out, Buffer.from(all.buffer));
}, (error) => { console.error(error); process.exit(1); });
