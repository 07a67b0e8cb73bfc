// From a file to the pixels that the model sees: what Python's Pillow does, number by number
import { decodePng, isPng, pngChunks, pngSize } from './png.js'

const MOST_PIXELS = 50_000_000
const OTHERS = [   // what a file is that begins so and is not read
  [/^\s*(<\?xml[^]*)?<svg/i, 'not a picture of pixels but an SVG drawing; save it as PNG'],
  [/^%PDF/, 'not a picture but a PDF; save its page as PNG'],
  [/^\s*<(!doctype html|html)/i, 'not a picture but a web page, as a site sends in place of one'],
  [/^....ftyp(hei|hev|mif1|msf1)/s, 'HEIC, as telephones save photographs; save it as JPEG'],
  [/^(II\*\0|MM\0\*)/, 'TIFF, which browsers do not open; save it as PNG'],
  [/^PK\x03\x04/, 'not a picture but a zip; call it .zip'],
  [/^$/, 'an empty file']]

const tooMany = (w, h) => new Error(`${w}x${h} pixels are more than ${MOST_PIXELS.toLocaleString('en')}`)
const moves = new Error('it has frames; save the one to read')

async function byBrowser(blob, kind) {
  const image = new Image()
  image.src = URL.createObjectURL(blob)
  try {   // this reads its head alone
    await new Promise((yes, no) => { image.onload = yes; image.onerror = no })
    if (image.naturalWidth * image.naturalHeight > MOST_PIXELS) throw tooMany(image.naturalWidth, image.naturalHeight)
    if (await frames(blob, kind) > 1) throw moves
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' })
    const [w, h] = [bitmap.width, bitmap.height]
    const canvas = new OffscreenCanvas(w, h).getContext('2d', { willReadFrequently: true })
    canvas.drawImage(bitmap, 0, 0)
    return { w, h, rgba: canvas.getImageData(0, 0, w, h).data }
  } catch (e) {
    throw e instanceof Error ? e : new Error('not a picture that this browser opens')
  } finally { URL.revokeObjectURL(image.src) }
}

async function frames(blob, kind) {   // of a picture that may move
  if (!window.ImageDecoder || !await ImageDecoder.isTypeSupported(kind)) return 1
  const decoder = new ImageDecoder({ data: await blob.arrayBuffer(), type: kind })
  await decoder.tracks.ready
  await decoder.completed
  const n = decoder.tracks.selectedTrack.frameCount
  decoder.close()
  return n
}

function movingKind(head) {
  if (head.startsWith('GIF8')) return 'image/gif'
  if (/^RIFF....WEBP/s.test(head)) return 'image/webp'
  return ''
}

export async function openPicture(blob) {   // { w, h, rgb, bands }: three bytes a pixel, upright, nothing transparent
  const head = new Uint8Array(await blob.slice(0, 1024).arrayBuffer())
  if (!isPng(head)) {
    const text = String.fromCharCode(...head), other = OTHERS.find(([o]) => o.test(text))
    if (other) throw new Error(other[1])
    return opaque(await byBrowser(blob, movingKind(text)))
  }
  const chunks = pngChunks(new Uint8Array(await blob.arrayBuffer())), [w, h] = pngSize(chunks)
  if (!(w * h <= MOST_PIXELS)) throw tooMany(w, h)
  if (chunks.acTL) throw moves
  return opaque(chunks.eXIf ? await byBrowser(blob, '') : await decodePng(chunks))
}

function on(ground, rgba) {   // laid on white or black, rounded as Pillow's alpha_composite
  const rgb = new Uint8Array(rgba.length / 4 * 3)
  for (let i = 0, o = 0; i < rgba.length; i += 4)
    for (let k = 0; k < 3; k++) {
      const v = 128 * (rgba[i + k] * rgba[i + 3] + ground * (255 - rgba[i + 3])) + 0x4000
      rgb[o++] = (v >> 8) + v >> 15
    }
  return rgb
}

function span(a, first, step) {   // levels between the darkest and the lightest
  let lo = 255, hi = 0
  for (let i = first; i < a.length; i += step) { lo = Math.min(lo, a[i]); hi = Math.max(hi, a[i]) }
  return hi - lo
}

function opaque({ w, h, rgba }) {   // where nothing shows but in the alpha, dark on light by the alpha
  const rgb = on(255, rgba)
  if (Math.max(...[0, 1, 2].map(k => span(rgb, k, 3))) >= 8 || span(rgba, 3, 4) < 64) return { w, h, rgb }
  const black = on(0, rgba), mean = black.reduce((a, b) => a + b, 0) / black.length
  return { w, h, rgb: mean < 128 ? black.map(o => 255 - o) : black }
}

function planes({ w, h, rgb }, channels) {   // whole numbers, an array for each channel
  const res = Array.from({ length: channels }, () => new Float64Array(w * h))
  for (let i = 0, o = 0; i < w * h; i++, o += 3)
    if (channels === 1) res[0][i] = 19595 * rgb[o] + 38470 * rgb[o + 1] + 7471 * rgb[o + 2] + 0x8000 >> 16
    else for (let c = 0; c < 3; c++) res[c][i] = rgb[o + c]
  return res
}

function triangles(n, m) {   // for each of m new pixels of an axis: where its weights begin among the n, and they
  const scale = n / m, wide = Math.max(scale, 1)
  return Array.from({ length: m }, (_, i) => {
    const centre = (i + .5) * scale
    const lo = Math.max(0, Math.floor(centre - wide)), hi = Math.min(n, Math.ceil(centre + wide))
    const w = Array.from({ length: hi - lo }, (_, k) => Math.max(0, 1 - Math.abs(lo + k + .5 - centre) / wide))
    const sum = w.reduce((a, b) => a + b, 0)
    return [lo, w.map(o => o / sum)]
  })
}

function along(a, weights, rows, from, to, f) {   // one axis; `from`, `to`: steps to the next row, to the next pixel
  const res = new Float64Array(rows * weights.length)
  for (let r = 0; r < rows; r++)
    for (let i = 0; i < weights.length; i++) {
      const [lo, w] = weights[i]
      let sum = 0
      for (let k = 0, at = r * from[0] + lo * from[1]; k < w.length; k++, at += from[1]) sum = f(sum + w[k] * a[at])
      res[r * to[0] + i * to[1]] = sum
    }
  return res
}

function resized(a, [w, h], [w2, h2], fixed, newer) {
  // a free width: in float32, down and then along; a fixed one: as Pillow, in whole numbers of 22 bits, along and then
  // down, but for pictures that lose much more of their height than of their width, in newer versions
  const f = fixed ? o => o : Math.fround, byte = o => Math.min(255, Math.max(0, Math.floor(o)))
  const weights = (n, m) => triangles(n, m).map(([lo, w]) => [lo, w.map(o => fixed ? Math.round(o * 2 ** 22) : f(o))])
  const across = (a, h) => w === w2 ? a : along(a, weights(w, w2), h, [w, 1], [w2, 1], f)
  const down = (a, w) => h === h2 ? a : along(a, weights(h, h2), w, [1, w], [1, w], f)
  if (!fixed) return across(down(a, w), h2).map(o => byte(f(o + .5)))
  const bits = (a, before) => a === before ? a : a.map(o => byte((o + 2 ** 21) / 2 ** 22))
  const downFirst = newer && h2 < h && h - h2 > 2 * (w - w2), first = bits(downFirst ? down(a, w) : across(a, h), a)
  return bits(downFirst ? across(first, h2) : down(first, w2), first)
}

function onSteps(w, a, b) {   // a width times a / b, as a multiple of 16 from 64 to 1024
  return 16 * Math.min(Math.max(Math.floor((2 * w * a + b * 16) / (2 * b * 16)), 4), 64)
}

export function modelPixels(picture, reader) {   // { x, w, h }: channel by channel
  const { size: [height, width], channels, newer, keep_shape } = reader, shaped = keep_shape || width === null
  const { w, h } = picture, to = shaped ? onSteps(w, height, h) : width, x = new Uint8Array(channels * height * to)
  planes(picture, channels).forEach((a, c) =>
    x.set(w === to && h === height ? a : resized(a, [w, h], [to, height], !shaped, newer), c * height * to))
  const res = { x, w: to, h: height }
  return shaped && width !== null ? ofWidth(res, width, channels) : res
}

function sized({ x, w, h }, w2, h2, channels) {
  const res = new Uint8Array(channels * w2 * h2)
  for (let c = 0; c < channels; c++) {
    const a = Float64Array.from(x.subarray(c * w * h, (c + 1) * w * h))
    res.set(resized(a, [w, h], [w2, h2], false), c * w2 * h2)
  }
  return { x: res, w: w2, h: h2 }
}

function onPaper({ x, w, h }, w2, h2, top, channels) {   // of the mean colour of the border; the picture on its left
  const res = new Uint8Array(channels * w2 * h2)
  for (let c = 0; c < channels; c++) {
    const a = x.subarray(c * w * h, (c + 1) * w * h)
    let sum = 0
    for (let i = 0; i < w; i++) sum += a[i] + a[(h - 1) * w + i]
    for (let i = 0; i < h; i++) sum += a[i * w] + a[(i + 1) * w - 1]
    res.fill(Math.floor(sum / (2 * w + 2 * h) + .5), c * w2 * h2, (c + 1) * w2 * h2)
    for (let r = 0; r < h; r++) res.set(a.subarray(r * w, (r + 1) * w), c * w2 * h2 + (top + r) * w2)
  }
  return { x: res, w: w2, h: h2 }
}

function ofWidth(picture, width, channels) {   // squeezed where it is wider, on paper where it is narrower
  const { w, h } = picture
  return w > width ? sized(picture, width, h, channels) : onPaper(picture, width, h, 0, channels)
}

export function otherSizes(picture, { channels }) {   // narrower, wider, and smaller on paper
  const { w, h } = picture, edge = Math.floor(h / 12), narrow = onSteps(w, 5, 6), wide = onSteps(w, 6, 5)
  const small = sized(picture, narrow, h - 2 * edge, channels)
  return [sized(picture, narrow, h, channels), sized(picture, wide, h, channels),
    onPaper(small, narrow, h, edge, channels)]
}
