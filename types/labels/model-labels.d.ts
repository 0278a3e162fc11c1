/** Names of a model's classes: its own, where it brings some along, else those of the public list that it was trained with. */
import { Labels } from './labels.js';
import type { ModelSpec } from '../types.js';
/** The names of a model's classes, categories or labels; undefined where they are not known. */
export declare function labelsOfModel(spec: ModelSpec, kind: string, count: number): Labels | undefined;
/** A class of the model by its number or one of its names. */
export declare function checkModelLabel(value: unknown, option: string, spec: ModelSpec, kind: string, count: number): number;
