/** One number per pixel, row by row. */
export interface PixelNumbers<D extends ArrayLike<number>> {
    data: D;
    width: number;
    height: number;
}
/** Checks type, sides and length. `expected`: the arrays that `isData` takes, in words. */
export declare function checkPixelNumbers<D extends ArrayLike<number>>(value: object, name: string, isData: (data: unknown) => data is D, expected: string): PixelNumbers<D>;
