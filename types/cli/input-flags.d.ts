import { type GenerateOptions } from '../index.js';
import { type FlagValues } from './command.js';
export declare const inputFlags: {
    readonly prompt: {
        readonly kind: "text";
        readonly short: "p";
        readonly help: "what to draw, in place of PROMPT; (word:1.2), [word] and BREAK as in A1111";
    };
    readonly class: {
        readonly kind: "text";
        readonly value: "N|NAME";
        readonly help: "class of a class-conditional model";
    };
    readonly boxes: {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "layout: JSON list of { \"label\", \"x\", \"y\", \"width\", \"height\" }, in fractions of the picture";
    };
    readonly 'semantic-map': {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "semantic synthesis: grey or palette PNG with a label per pixel";
    };
    readonly image: {
        readonly kind: "text";
        readonly short: "i";
        readonly value: "FILE";
        readonly help: "start picture; for inpainting and super-resolution, the picture to work on";
    };
    readonly mask: {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "inpainting and image to image: what of the picture to repaint is white";
    };
    readonly 'noise-level': {
        readonly kind: "number";
        readonly help: "SD x4 upscaler: noise on the small picture; default 20";
    };
    readonly neighbours: {
        readonly kind: "text";
        readonly value: "FILE";
        readonly help: "retrieval-augmented models: database (.npz, .safetensors or a folder) searched by the prompt";
    };
    readonly k: {
        readonly kind: "number";
        readonly help: "how many neighbours; default 10";
    };
    readonly strength: {
        readonly kind: "number";
        readonly help: "image to image: share of the steps that is run, up to 1 (default 0.75)";
    };
};
type InputValues = FlagValues<typeof inputFlags>;
/** The inputs among the flags as options of generate(). */
export declare function readInputs(values: InputValues): Promise<GenerateOptions>;
/** The prompt as an argument or as a flag; none where other inputs may do. */
export declare function readPrompt(flag: string | undefined, positional: string | undefined): string | undefined;
export {};
