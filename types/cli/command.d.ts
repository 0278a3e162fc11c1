/** A flag of a command. Its name is the API's option in kebab case. */
export interface Flag {
    /** `number` takes any number, `text` a string, `switch` nothing. */
    kind: 'text' | 'number' | 'switch';
    short?: string;
    /** Placeholder of the value in the help text. */
    value?: string;
    help: string;
}
export type Flags = Record<string, Flag>;
/** Flags of the commands that work for a while and report at the end. */
export declare const reportFlags: {
    readonly json: {
        readonly kind: "switch";
        readonly help: "report as JSON on standard output";
    };
    readonly quiet: {
        readonly kind: "switch";
        readonly short: "q";
        readonly help: "no progress bar and no report";
    };
    readonly help: {
        readonly kind: "switch";
        readonly short: "h";
        readonly help: "show this";
    };
};
/** The values given for flags: only those that were given. */
export type FlagValues<F extends Flags> = {
    [K in keyof F]?: F[K]['kind'] extends 'switch' ? boolean : F[K]['kind'] extends 'number' ? number : string;
};
/** Where a command writes, and what stops it. */
export interface Io {
    stdout: NodeJS.WritableStream;
    stderr: NodeJS.WritableStream & {
        isTTY?: boolean;
        columns?: number;
    };
    /** Aborted by Ctrl-C. */
    signal: AbortSignal;
}
/** A command of `latent`. */
export interface Command {
    name: string;
    summary: string;
    /** What follows the command's name on the usage line. */
    usage: string;
    flags: Flags;
    /** Further text at the end of the help. */
    notes?: string;
    run(argv: string[], io: Io): Promise<void>;
}
/** A wrong command line: exit code 2. */
export declare class UsageError extends Error {
}
/** Reads flags and positional arguments; throws UsageError naming what is wrong. */
export declare function readFlags<F extends Flags>(flags: F, argv: string[], positionals: {
    min: number;
    max: number;
    names: string;
}): {
    values: FlagValues<F>;
    positionals: string[];
};
/** A number from the command line. */
export declare function readNumber(text: string, name: string): number;
/** The value of `--seed`. */
export declare function readSeed(text: string): bigint;
/** kebab-case to the API's camelCase. */
export declare function camelCase(name: string): string;
/** Flags that are options of the API under the same name in camel case. */
export declare function sameOptions(values: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown>;
/** `1 step`, `2 steps`. */
export declare function plural(count: number, what: string): string;
/** A list of names for the help, in lines that fit a wide terminal. */
export declare function wrapNames(title: string, names: readonly string[]): string;
/** Help text of a command. */
export declare function helpText(command: Command): string;
/** JSON for machines: bigints as numbers where they fit, typed arrays as lists. */
export declare function toJson(value: unknown): string;
