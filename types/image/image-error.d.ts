import { DiffusionError } from '../errors.js';
/** Limits on pictures from outside, checked before anything is allocated. */
export declare const maxImageSide = 16384;
export declare const maxImagePixels: number;
export declare const maxImageFileBytes: number;
/** A picture that is broken, cut short, too large or of an unknown kind. */
export declare function imageError(message: string, details?: Record<string, unknown>, cause?: unknown): DiffusionError;
export declare function checkImageSize(width: number, height: number, where: string): void;
