/** Path of the model's file. */
declare const file: string
export = file
