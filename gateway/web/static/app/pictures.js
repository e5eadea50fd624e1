// Takes pictures in: decodes them, turns them upright, shrinks them to what the model looks at, drops their metadata.

import { newId } from "./dom.js";
import { Failure } from "./server.js";

/** As many pixels as GLM-4.1V to 4.6V look at (6,144 tokens of 28 × 28); the gateway's limits are in docs/api.md. */
export const MOST_PIXELS = 4_816_896;
export const MOST_PICTURES = 16;
export const MOST_BYTES = 10_485_760;
const MOST_FILE_BYTES = 100 * 1024 * 1024;
const LEAST_SIDE = 8;
const MOST_ASPECT = 100;
const BIG_PNG_BYTES = 2 * 1024 * 1024;

/**
 * @typedef {object} Picture
 * @property {string} id
 * @property {Blob} blob what is sent
 * @property {string} name
 * @property {number} width @property {number} height
 * @property {{width: number, height: number, bytes: number}} original
 */

/**
 * @param {Blob & {name?: string}} file
 * @returns {Promise<Picture>}
 * @throws {Failure} not_a_picture or too_large
 */
export async function takePicture(file) {
  if (file.size > MOST_FILE_BYTES) throw new Failure("too_large");
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => {
    throw new Failure("not_a_picture");
  });
  try {
    const { width, height } = fit(bitmap.width, bitmap.height);
    const blob = await encode(bitmap, width, height, file.type);
    const original = { width: bitmap.width, height: bitmap.height, bytes: file.size };
    return { id: newId(), blob, name: file.name ?? "", width, height, original };
  } finally {
    bitmap.close();
  }
}

/** The largest size of the same shape that the model looks at; never larger than it is. */
export function fit(/** @type {number} */ width, /** @type {number} */ height) {
  const scale = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
  const fitted = { width: Math.floor(width * scale), height: Math.floor(height * scale) };
  const [short, long] = [Math.min(fitted.width, fitted.height), Math.max(fitted.width, fitted.height)];
  if (short < LEAST_SIDE || long > short * MOST_ASPECT) throw new Failure("bad_shape");
  return fitted;
}

/** Pixels alone: whatever else the file held (place, camera, thumbnail) stays behind. */
async function encode(
  /** @type {ImageBitmap} */ bitmap,
  /** @type {number} */ width,
  /** @type {number} */ height,
  /** @type {string} */ type,
) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  pen.imageSmoothingQuality = "high";
  if (type === "image/png" || type === "image/gif") {
    pen.drawImage(bitmap, 0, 0, width, height);
    const exact = await blobOf(canvas, "image/png");
    if (exact.size <= BIG_PNG_BYTES) return exact;
    pen.clearRect(0, 0, width, height);
  }
  pen.fillStyle = "#ffffff"; // JPEG has no transparency
  pen.fillRect(0, 0, width, height);
  pen.drawImage(bitmap, 0, 0, width, height);
  for (const quality of [0.92, 0.8, 0.6]) {
    const blob = await blobOf(canvas, "image/jpeg", quality);
    if (blob.size <= MOST_BYTES) return blob;
  }
  throw new Failure("too_large");
}

/** @returns {Promise<Blob>} */
function blobOf(/** @type {HTMLCanvasElement} */ canvas, /** @type {string} */ type, /** @type {number} */ quality = 1) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Failure("too_large"))), type, quality);
  });
}

/** @returns {Promise<string>} a data URL */
export function dataUrl(/** @type {Blob} */ blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** @type {WeakMap<Blob, string>} */
const urls = new WeakMap();

/** A URL to show a picture by, one for each. */
export function shownUrl(/** @type {Picture} */ picture) {
  let url = urls.get(picture.blob);
  if (!url) urls.set(picture.blob, url = URL.createObjectURL(picture.blob));
  return url;
}
