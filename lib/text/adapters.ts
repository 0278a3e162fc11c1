/** Adapters that a prompt names, as the web UI (AUTOMATIC1111 1.10) writes them: `<lora:name:weight>`. They are no words, and this version does not apply them. */

const adapter = /<(?:lora|lyco|hypernet):[^<>]*>/g

/** The marks of adapters in a prompt, as they stand there. */
export function adapterNames(prompt: string): string[] {
  return prompt.match(adapter) ?? []
}

/** A prompt without the marks of adapters. */
export function withoutAdapters(prompt: string): string {
  return prompt.replace(adapter, '')
}
