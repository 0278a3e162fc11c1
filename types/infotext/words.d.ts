/** Samplers and schedules in the web UI's words, for the "parameters" text. */
export declare function samplerWord(name: string): string;
export declare function scheduleWord(name: string): string;
