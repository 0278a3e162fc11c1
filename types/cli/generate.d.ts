import { type Command } from './command.js';
/** out.png for one picture; out-1.png, out-2.png ... for several. */
export declare function outputName(file: string, index: number, count: number): string;
export declare const generateCommand: Command;
