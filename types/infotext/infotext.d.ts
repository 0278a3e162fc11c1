/**
 * The "parameters" text that web UIs keep with a picture (AUTOMATIC1111 1.10): the prompt, a line "Negative prompt: ...", and one line of "Key: value" pairs.
 * A value with a comma, colon or line break is quoted as in JSON; a pair whose key and value are equal is written as the key alone.
 */
/** A "parameters" text, taken apart. */
export interface Infotext {
    prompt: string;
    negativePrompt: string;
    /** Values as text, in the order of the file. */
    fields: Record<string, string>;
}
/** What can stand behind a key; null and undefined are left out, true and false are written as the web UI's language does. */
export type InfotextValue = string | number | bigint | boolean | null | undefined;
/** Writes the text. Known keys go to the web UI's places, others before `Version` in the order given. */
export declare function formatInfotext(prompt: string, negativePrompt: string, fields: Readonly<Record<string, InfotextValue>>): string;
/** Reads the text as the web UI does. Never fails: what is no parameter line belongs to the prompt. */
export declare function parseInfotext(text: string): Infotext;
