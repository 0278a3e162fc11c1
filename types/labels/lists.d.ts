/**
 * `imagenet-1k`: ILSVRC 2012, the class-conditional models. `open-images`: the 340 categories of layout2img-openimages256. `coco-stuff`: all 182 labels, the semantic
 * synthesis models (label maps of DeepLab v2, which count from 0: a COCO id less one). `coco-stuff-171`: those that COCO annotates, the layout models trained on it.
 * The order of the Open Images and COCO-Stuff names was not checked against a checkpoint; numbers always work.
 */
export type LabelListName = 'imagenet-1k' | 'open-images' | 'coco-stuff' | 'coco-stuff-171';
/** All names of each class, the usual one first, by number. */
export declare function synonymsOf(list: LabelListName): string[][];
