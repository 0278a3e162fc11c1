/** The primitives of option checking. Every rejection is a TypeError or RangeError with `code: 'ERR_INVALID_ARG'` that names the option, what was given and what is allowed. */
type Coded<T extends Error> = T & {
    code: 'ERR_INVALID_ARG';
};
/** A value of the wrong type or an unknown name. */
export declare function invalidType(message: string): Coded<TypeError>;
/** A value of the right type outside what is allowed. */
export declare function invalidRange(message: string): Coded<RangeError>;
/** A short rendering of a value for messages. */
export declare function show(value: unknown): string;
/** Fails unless `value` is an object with no other keys than `known`; undefined counts as an empty object. */
export declare function knownKeys(value: unknown, where: string, known: readonly string[], refused?: Readonly<Record<string, string>>): Record<string, unknown>;
/** Bounds of a number option. */
export interface Bounds {
    min: number;
    max: number;
}
export declare function checkNumber(value: unknown, name: string, { min, max }: Bounds): number;
export declare function checkInteger(value: unknown, name: string, bounds: Bounds): number;
export declare function checkString(value: unknown, name: string, maxLength?: number): string;
export declare function checkBoolean(value: unknown, name: string): boolean;
export declare function checkFunction<F>(value: unknown, name: string): F;
/** One of `names`; other words get the nearest of them as a hint. */
export declare function checkName<T extends string>(value: unknown, name: string, names: readonly T[]): T;
/** A seed as bigint, 0 to 2^64-1. */
export declare function checkSeed(value: unknown, name: string): bigint;
export declare function checkSignal(value: unknown, name: string): AbortSignal;
/** True for a URL of any realm. */
export declare function isUrl(value: unknown): value is URL;
/** The path behind a `file:` URL. */
export declare function fileUrlToPath(url: string, name: string): string;
/** True for a Float32Array of any realm. */
export declare function isFloat32Array(value: unknown): value is Float32Array;
/** True for an Int32Array of any realm. */
export declare function isInt32Array(value: unknown): value is Int32Array;
/** True for a Uint16Array of any realm. */
export declare function isUint16Array(value: unknown): value is Uint16Array;
/** True for bytes of any realm: a Uint8Array (a Buffer is one) or a Uint8ClampedArray. */
export declare function isBytes(value: unknown): value is Uint8Array;
/** Fails for NaN and infinities, with the place of the first. */
export declare function checkFinite(data: Float32Array, name: string): Float32Array;
/** A shape of `rank` positive sizes whose product is `elements`. */
export declare function checkShape(value: unknown, name: string, elements: number, rank?: number): number[];
export {};
