/** Turns text into the form in which words are looked for. The library calls instances like functions. */
export interface Normalizer {
    normalize(text: string): string;
}
export interface Tokenizer {
    normalizer: Normalizer | null;
    encode(text: string, options: {
        add_special_tokens: boolean;
    }): {
        ids: (number | undefined)[];
        tokens: string[];
    };
    token_to_id(token: string): number | undefined;
    id_to_token(id: number): string | undefined;
}
export declare const Tokenizer: new (tokenizer: object, config: object) => Tokenizer, Normalizer: new (config: object) => Normalizer;
