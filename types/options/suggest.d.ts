/** Hints for mistyped names. */
/** The known name nearest to a mistyped one, or undefined where none is near. */
export declare function nearestName(given: string, known: readonly string[]): string | undefined;
