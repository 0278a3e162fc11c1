/** Keeps the k highest scores of many; of equal ones the first that came. What is no number counts for nothing. */
export declare class TopK {
    #private;
    /** Highest first. */
    readonly entries: {
        index: number;
        score: number;
    }[];
    constructor(limit: number);
    add(index: number, score: number): void;
}
