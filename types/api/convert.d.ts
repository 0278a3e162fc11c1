import type { LoadOptions, ModelSource, Progress, WeightType } from '../types.js';
/** Options of {@link convert}. */
export interface ConvertOptions extends Pick<LoadOptions, 'config' | 'spec' | 'ema' | 'signal'> {
    /** Weight type of the matrices and convolutions. Small tensors (norms, biases) stay in float. */
    type: WeightType;
    /** Other types for single tensors: pattern over canonical tensor names (`*` stands for anything) to type; the first match wins. */
    overrides?: Record<string, WeightType> | readonly (readonly [pattern: string, type: WeightType])[];
    /** Texts to store in the file (`general.license`, `general.author` ...). */
    metadata?: Record<string, string>;
    onProgress?: (progress: Progress) => unknown;
}
/** What {@link convert} wrote. */
export interface ConvertReport {
    destination: string;
    tensors: number;
    bytes: number;
    [detail: string]: unknown;
}
/**
 * Writes a model as one GGUF file: tensors in the given type, the model's spec, tokenizer and metadata, so that the file is enough by itself.
 * Streams, and renames a temporary file at the end: an aborted or failed conversion leaves nothing behind.
 */
export declare function convert(source: ModelSource, destination: string | URL, options: ConvertOptions): Promise<ConvertReport>;
