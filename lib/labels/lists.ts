/** The lists of class names: ImageNet, Open Images, COCO-Stuff. */
import { readAsset } from '../model/assets.js'

/**
 * `imagenet-1k`: ILSVRC 2012, the class-conditional models. `open-images`: the 340 categories of layout2img-openimages256. `coco-stuff`: all 182 labels, the semantic
 * synthesis models (label maps of DeepLab v2, which count from 0: a COCO id less one). `coco-stuff-171`: those that COCO annotates, the layout models trained on it.
 * The order of the Open Images and COCO-Stuff names was not checked against a checkpoint; numbers always work.
 */
export type LabelListName = 'imagenet-1k' | 'open-images' | 'coco-stuff' | 'coco-stuff-171'

/** COCO ids that are not used in annotations: street sign, hat, shoe, eye glasses, plate, mirror, window, desk, door, blender, hair brush. */
const unusedCocoIds = new Set([12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91])

let asset: Record<string, string[]> | undefined

/** All names of each class, the usual one first, by number. */
export function synonymsOf(list: LabelListName): string[][] {
  asset ??= JSON.parse(readAsset('labels.json.br', 'The list of class names')) as Record<string, string[]>
  const lines = list === 'coco-stuff-171' ? annotatedCoco(asset['coco-stuff']!) : asset[list]!
  return lines.map((line) => line.split(', '))
}

/** taming-transformers numbers COCO's categories in the order of their ids as strings: 1, 10, 100, 101 ... */
function annotatedCoco(labels: readonly string[]): string[] {
  const ids = labels.map((_, i) => i + 1).filter((id) => !unusedCocoIds.has(id))
  return ids
    .map(String)
    .sort()
    .map((id) => labels[Number(id) - 1]!)
}
