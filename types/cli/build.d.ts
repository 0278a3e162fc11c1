import { type Command } from './command.js';
export declare const buildCommand: Command;
