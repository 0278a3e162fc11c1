/** Figures by the names of their files; their text is the file. */
declare const figures: Record<string, () => { toString(): string }>
export = figures
