/** Many pictures on one, each with its words underneath. */
import { RawImage } from '../index.js';
/** A picture and what stands under it. */
export interface Entry {
    image: RawImage;
    label: string;
}
export interface SheetOptions {
    columns: number;
    /** Side of a picture on the sheet, in pixels. */
    side: number;
    /** Lines under all pictures. */
    footer?: readonly string[];
}
/** Lays pictures out in rows on white, each scaled to a square of `side` pixels. A row is as high as the longest of its labels. */
export declare function contactSheet(entries: readonly Entry[], { columns, side, footer }: SheetOptions): Promise<RawImage>;
