/** A list of classes with their names. */
export declare class Labels {
    #private;
    /** The usual name of each class, by number. A name may occur twice: ImageNet has two cranes. */
    readonly names: readonly string[];
    /** All names of each class, the usual one first, by number. */
    constructor(synonyms: readonly (readonly string[])[]);
    /**
     * The number of a class by any of its names. A usual name goes before a synonym of another class, then capitals decide (a Cardigan is a dog).
     * @param option what is told to be wrong
     * @throws RangeError with code `ERR_INVALID_ARG` for a name that none or several have; it names the nearest
     */
    idOf(label: string, option: string): number;
}
/** The list of a model's classes (categories of a layout, labels of a semantic map); undefined where it is not known. */
export declare function labelsOf(kind: string, count: number): Labels | undefined;
/**
 * A class given by its number or one of its names.
 * @param option what is told to be wrong
 * @param count classes of the model
 * @param labels their names, where the model has its own
 * @throws TypeError or RangeError with code `ERR_INVALID_ARG`
 */
export declare function checkLabel(value: unknown, option: string, kind: string, count: number, labels?: Labels | undefined): number;
