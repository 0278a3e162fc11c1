/** Its name, in reports and in the settings of pictures. */
export declare const embeddedName = "tiny-scenes";
/** Its file. It lies beside lib/ and dist/ alike. */
export declare function embeddedModel(): string;
