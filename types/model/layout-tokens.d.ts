/** A rectangle in fractions of the picture: `x`, `y` is its upper left corner. */
export interface Box {
    x: number;
    y: number;
    width: number;
    height: number;
}
/** One object of a layout. The four attributes are those of the Open Images annotations; what is left out counts as false. */
export interface LayoutObject extends Box {
    /** Number of the category, from 0. */
    classId: number;
    /** The box spans a group of objects (a crowd in COCO). */
    groupOf?: boolean;
    occluded?: boolean;
    /** A drawing or model of the object. */
    depiction?: boolean;
    /** The picture is taken from inside of the object. */
    inside?: boolean;
}
/** How a model was trained to read boxes. Names in brackets are those of the reference. */
export interface LayoutEncoding {
    /** Categories [no_object_classes]. */
    classes: number;
    /** Object slots [no_max_objects]. */
    maxObjects: number;
    /** Size of the token vocabulary; its last token fills empty slots [no_tokens]. */
    vocabulary: number;
    /** Two tokens at the end hold the crop, and boxes are relative to the whole picture; otherwise they are relative to the crop [encode_crop]. */
    encodeCrop: boolean;
    /** `groupOf` is told by the category token [use_group_parameter]. */
    groupFlag: boolean;
    /** So are `occluded`, `depiction` and `inside` [use_additional_parameters]. */
    attributeFlags: boolean;
}
/** layout2img-openimages256: 30 objects of 340 categories, 92 tokens out of 8192. */
export declare const openImagesEncoding: LayoutEncoding;
/** Tokens of a layout: three per slot, and two for the crop. */
export declare function layoutLength({ maxObjects, encodeCrop }: LayoutEncoding): number;
/**
 * The encoding of a layout conditioner, from the parameters in the model's spec: the sequence length gives slots and crop, `vocabSize` the vocabulary. `classes`,
 * `groupFlag` and `attributeFlags` are not in the weights and are those of the Open Images model unless the spec names them.
 * @returns undefined where the numbers do not fit together
 */
export declare function layoutEncodingOf(params: Readonly<Record<string, unknown>>): LayoutEncoding | undefined;
/** Checks a rectangle given by a caller: it has an area and lies in the picture. */
export declare function checkBox(value: unknown, name: string): Box;
/** Attributes of a box. */
export declare const flagNames: readonly ["groupOf", "occluded", "depiction", "inside"];
/**
 * The tokens of a layout, [3 * maxObjects + 2]: category, upper left and lower right corner per object in the order given, the vocabulary's last token in empty
 * slots, the corners of the crop. Objects that the crop does not touch are left out.
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG` for too many objects, a category that the model does not have, a box that is empty or outside
 */
export declare function layoutTokens(objects: readonly LayoutObject[], encoding?: LayoutEncoding, crop?: Box): number[];
