// Predicts labels of photographs in the browser with a model's any-size file.
import * as ort from "onnxruntime-web";

export async function load(url) {
  const file = new Uint8Array(await (await fetch(url)).arrayBuffer());
  return { session: await ort.InferenceSession.create(file), labels: labelsOf(file) };
}

// Every label with its probability, the likeliest first; for a model of numbers, "value" and the number.
// `photo` is a Blob or File.
export async function predict({ session, labels }, photo) {
  const images = await pixels(photo, session.inputMetadata[0].shape[3]);
  const { probabilities } = await session.run({ images });
  return labels.map((label, k) => [label, probabilities.data[k]]).sort((a, b) => b[1] - a[1]);
}

async function pixels(photo, channels) {
  const image = await createImageBitmap(photo, { colorSpaceConversion: "none" }); // upright, as people see it
  const { width, height } = image;
  const [page, cut] = ["white", "transparent"].map((ground) => { // transparent pixels become white
    const canvas = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = ground;
    canvas.fillRect(0, 0, width, height);
    canvas.drawImage(image, 0, 0);
    return canvas.getImageData(0, 0, width, height).data;
  });
  const data = new Uint8Array(width * height * channels);
  for (let from = 0, to = 0; from < page.length; from += 4) {
    const [red, green, blue] = [page[from], page[from + 1], page[from + 2]];
    if (channels === 1) data[to++] = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16; // ITU-R 601
    else for (let c = 0; c < channels; c++) data[to++] = c < 3 ? page[from + c] : cut[from + 3];
  }
  return new ort.Tensor("uint8", data, [1, height, width, channels]);
}

// onnxruntime-web does not show a file's metadata: it is at the end, each key and each value after a tag and a length.
function labelsOf(file) {
  const key = new TextEncoder().encode("\n\x0fespalier.labels\x12"); // no label contains this: JSON escapes the first two bytes
  let at = file.findLastIndex((_, from) => key.every((byte, k) => file[from + k] === byte)) + key.length;
  let length = 0, shift = 0;
  do { length |= (file[at] & 127) << shift; shift += 7; } while (file[at++] & 128);
  const labels = JSON.parse(new TextDecoder().decode(file.subarray(at, at + length)));
  return labels.length ? labels : ["value"];
}
