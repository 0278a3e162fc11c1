#!/usr/bin/env node
import { type Io } from './command.js';
/** Runs a command line and gives its exit code. */
export declare function main(argv: readonly string[], io: Io): Promise<number>;
