/** Whether a TIFF states where on Earth it lies: its first directory is read, nothing else. */

const PLACES = new Set([33550, 34264, 34735]); // ModelPixelScale, ModelTransformation, GeoKeyDirectory

export const isTiff = (file) => /\.tiff?$/i.test(file.name) || file.type === "image/tiff";

/** false for what is no TIFF, or is damaged: the service then says what is wrong with it. */
export async function isGeoTiff(file) {
  if (!isTiff(file)) return false;
  try {
    return (await tags(file)).some((tag) => PLACES.has(tag));
  } catch {
    return false;
  }
}

async function tags(file) {
  const view = async (start, length) => new DataView(await file.slice(start, start + length).arrayBuffer());
  const head = await view(0, 16);
  const little = head.getUint16(0) === 0x4949;
  const big = head.getUint16(2, little) === 43;
  if ((!little && head.getUint16(0) !== 0x4d4d) || !(big || head.getUint16(2, little) === 42)) return [];
  const start = big ? Number(head.getBigUint64(8, little)) : head.getUint32(4, little);
  const [countSize, entrySize] = big ? [8, 20] : [2, 12];
  const counted = await view(start, countSize);
  const count = Math.min(1000, big ? Number(counted.getBigUint64(0, little)) : counted.getUint16(0, little));
  const entries = await view(start + countSize, count * entrySize);
  return Array.from({ length: count }, (_, index) => entries.getUint16(index * entrySize, little));
}
