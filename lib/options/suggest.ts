/** Hints for mistyped names. */

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      row[j] = Math.min(row[j - 1]! + 1, previous[j]! + 1, previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    previous = row
  }
  return previous[b.length]!
}

/** Names in other tools, and ours. */
const foreignNames: Record<string, string> = {
  numinferencesteps: 'steps',
  cfgscale: 'guidanceScale',
  cfg: 'guidanceScale',
  numimagesperprompt: 'count',
  batchsize: 'count',
  batch: 'count',
  n: 'count',
  initimage: 'image',
  denoisingstrength: 'strength',
  scheduler: 'sampler',
  samplername: 'sampler',
  method: 'sampler',
  generator: 'seed',
  callback: 'onProgress',
  progresscallback: 'onProgress',
  abortsignal: 'signal',
  negative: 'negativePrompt',
  quantization: 'dtype',
  gpu: 'device',
  text: 'prompt',
  class: 'classId',
  classlabel: 'classId',
  classlabels: 'classId',
  bbox: 'boxes',
  bboxes: 'boxes',
  boundingboxes: 'boxes',
  layout: 'boxes',
  labelmap: 'semanticMap',
  segmentation: 'semanticMap',
  segmentationmap: 'semanticMap',
  maskimage: 'mask',
  depth: 'depthMap',
  depthimage: 'depthMap',
  lrimage: 'image',
  neighbors: 'neighbours',
  knn: 'neighbours',
  eulerancestral: 'euler_a',
  dpm2ancestral: 'dpm2_a',
  dpmpp2sancestral: 'dpmpp_2s_a',
  dpmsolverpp: 'dpmpp_2m',
  pndm: 'plms',
  alignyoursteps: 'ays',
  uniform: 'normal',
}

/** Only letters and digits; "DPM++ 2M" has `pp` for its plus signs, as in our names. */
function flatten(name: string): string {
  return name
    .toLowerCase()
    .replaceAll('++', 'pp')
    .replace(/[-_ +]/g, '')
}

/** The known name nearest to a mistyped one, or undefined if none is near. */
export function nearestName(given: string, known: readonly string[]): string | undefined {
  const flat = flatten(given)
  const foreign = foreignNames[flat]
  if (foreign !== undefined && known.includes(foreign)) return foreign
  let best: string | undefined
  let bestDistance = Infinity
  for (const name of known) {
    const distance = editDistance(flat.slice(0, 64), flatten(name))
    if (distance < bestDistance) [best, bestDistance] = [name, distance]
  }
  return best !== undefined && bestDistance <= Math.max(1, Math.floor(best.length / 3)) ? best : undefined
}
