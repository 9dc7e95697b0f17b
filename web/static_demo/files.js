// Large files lie packed (name.gz) beside the page.

export const here = (name) => new URL(name, import.meta.url).href;

// The bytes of a file; received(n): n more packed bytes have arrived.
export async function download(name, received = () => {}) {
  const answer = await fetch(here(`${name}.gz`)).catch(() => ({ status: 'the server does not answer' }));
  if (!answer.ok) throw new Error(`${name} could not be loaded (${answer.status}); reload the page.`);
  const pieces = [], reader = answer.body.getReader();
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    pieces.push(piece.value); received(piece.value.length);
  }
  const blob = new Blob(pieces), start = new Uint8Array(await blob.slice(0, 2).arrayBuffer());
  const packed = start[0] === 0x1f && start[1] === 0x8b; // some servers unpack .gz themselves
  return packed ? new Response(blob.stream().pipeThrough(new DecompressionStream('gzip'))).arrayBuffer() : blob.arrayBuffer();
}
