// Predicts labels of texts in the browser with a model's file that reads code points: its tokenizer is inside of it.
import * as ort from "onnxruntime-web";

export async function load(url) {
  const file = new Uint8Array(await (await fetch(url)).arrayBuffer());
  const { input } = metadata(file, "espalier.card");
  return { session: await ort.InferenceSession.create(file), labels: metadata(file, "espalier.labels"), input };
}

// Every label with its probability, the likeliest first; for a model of numbers, "value" and the number.
// Throws a RangeError for what the service refuses too.
export async function predict({ session, labels, input }, text) {
  const points = cut(codePoints(text), input.max_tokens, input.truncate);
  const code_points = new ort.Tensor("int32", points.length ? points : new Int32Array(1), [1, points.length || 1]);
  const { probabilities } = await session.run({ code_points });
  const names = labels.length ? labels : ["value"];
  return names.map((label, k) => [label, probabilities.data[k]]).sort((a, b) => b[1] - a[1]);
}

function codePoints(text) {
  const given = text.replace(/^\uFEFF/, ""); // a byte order mark, which editors write
  const points = Int32Array.from(given, (character) => character.codePointAt(0)); // not `charCodeAt`: that is UTF-16
  if (points.length > 100_000) throw new RangeError("the text has more than 100,000 characters");
  if (points.includes(0)) throw new RangeError("the text has a NUL, which pads shorter texts");
  if (points.some((point) => point >> 11 === 0xd800 >> 11)) throw new RangeError("the text has half of a surrogate pair");
  return points;
}

function cut(points, most, truncate) {
  if (points.length <= most) return points;
  if (truncate === "end") return points.slice(0, most);
  if (truncate === "start") return points.slice(-most);
  const end = most >> 1, head = most - end;
  return Int32Array.of(...points.slice(0, head), ...points.slice(points.length - end));
}

// onnxruntime-web does not show a file's metadata: it is at the end, each key and each value after a tag and a length.
function metadata(file, name) {
  const key = new TextEncoder().encode(`\n${String.fromCharCode(name.length)}${name}\x12`); // no value contains this: JSON escapes the first two bytes
  let at = file.findLastIndex((_, from) => key.every((byte, k) => file[from + k] === byte)) + key.length;
  let length = 0, shift = 0;
  do { length |= (file[at] & 127) << shift; shift += 7; } while (file[at++] & 128);
  return JSON.parse(new TextDecoder().decode(file.subarray(at, at + length)));
}
