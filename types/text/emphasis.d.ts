/** A1111's attention syntax: a prompt as pieces of text with weights. */
/** Text with its weight, or a break between chunks. */
export type PromptPiece = {
    kind: 'text';
    text: string;
    weight: number;
} | {
    kind: 'break';
};
/**
 * A prompt as weighted pieces. `(x)` multiplies by 1.1, `[x]` divides by it, `(x:w)` multiplies by w; brackets nest; a backslash before a bracket or backslash makes it
 * text; BREAK as a word of its own ends a chunk (inside brackets it is ordinary text, as in the web UI). Brackets without a partner are text, or reach to the end.
 * Source: the prompt language of the AUTOMATIC1111 web UI 1.10.
 */
export declare function parseEmphasis(prompt: string): PromptPiece[];
