/** The clock of a long piece of work: whoever does it looks now and then whether it is `over`, and then awaits `next()`. */
export declare class TimeSlice {
    #private;
    get over(): boolean;
    /** Lets the event loop turn. */
    next(): Promise<void>;
}
/** Runs `work(i)` for i from 0 to count - 1 and lets the event loop turn whenever a few milliseconds have passed. */
export declare function inSlices(count: number, work: (index: number) => void): Promise<void>;
