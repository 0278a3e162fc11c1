/** A small bitmap font: printable ASCII, 5x7 dots and two rows for descenders, drawn for this package. */
/** Dots of a glyph across and down, without the spaces between glyphs and lines. */
export declare const glyphWidth = 5;
export declare const glyphHeight = 9;
/** Is there a dot of `character` at column `x` and row `y`? What the font lacks is a question mark. */
export declare function dotAt(character: string, x: number, y: number): boolean;
/** Breaks a text into lines of at most `columns` characters, between words where that is possible. */
export declare function breakLines(text: string, columns: number): string[];
