/** Runs `work(i)` for i from 0 to count - 1 and lets the event loop turn whenever a few milliseconds have passed. */
export declare function inSlices(count: number, work: (index: number) => void): Promise<void>;
