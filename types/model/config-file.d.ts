/** Parses a configuration text; throws ModelFormatError naming `where`. Unknown tags are data, alias bombs are refused. */
export declare function parseConfig(text: string, where: string): Record<string, unknown>;
/** `config` as the caller gave it, as an object that can cross to native code. */
export declare function givenConfig(config: unknown): Promise<Record<string, unknown>>;
/** The configuration lying beside a checkpoint: NAME.yaml, else config.yaml; undefined where there is none. A file without a "model" section is something else and is passed over. */
export declare function configBeside(checkpoint: string): Promise<Record<string, unknown> | undefined>;
