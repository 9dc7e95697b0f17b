// Rotations as rotation vectors and as quaternions [x, y, z, w].

export const sum = (a, b, sign = 1) => a.map((x, i) => x + sign * b[i]);

const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

export function quaternion([x, y, z]) {
  const angle = Math.hypot(x, y, z), s = angle ? Math.sin(angle / 2) / angle : 0.5;
  return [x * s, y * s, z * s, Math.cos(angle / 2)];
}

export function vector([x, y, z, w]) { // at most half a turn
  const sine = Math.hypot(x, y, z), s = sine ? 2 * Math.atan2(sine, Math.abs(w)) / sine : 2;
  return [x, y, z].map((part) => (w < 0 ? -s : s) * part);
}

export function product(a, b) { // first b, then a
  const [q, r] = [a.slice(0, 3), b.slice(0, 3)], turned = cross(q, r);
  return [...q.map((x, i) => a[3] * r[i] + b[3] * x + turned[i]), a[3] * b[3] - q.reduce((t, x, i) => t + x * r[i], 0)];
}

export function rotated(turn, point) { // v + 2 q x (q x v + w v)
  const [x, y, z, w] = quaternion(turn), q = [x, y, z], moved = cross(q, sum(cross(q, point), point.map((v) => w * v)));
  return point.map((v, i) => v + 2 * moved[i]);
}
