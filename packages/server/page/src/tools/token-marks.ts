/** Where in a prompt a window of the text encoder ends, out of the texts of its tokens. */

/** How vocabularies mark the ends (CLIP) or the insides (BERT) of words. */
const spelled = (token: string) => token.replace(/<\/w>$/, '').replace(/^##/, '')

/** The index behind the last token that is found, in their order; tokens that do not stand in the prompt as they are spelled are passed over. */
export function endOfTokens(prompt: string, tokens: readonly string[]): number {
  const text = prompt.toLowerCase()
  let at = 0
  for (const token of tokens) {
    const wanted = spelled(token).toLowerCase()
    const found = wanted === '' ? -1 : text.indexOf(wanted, at)
    // What lies further off is another word of the same letters: spellings skip but blanks and marks of emphasis.
    if (found >= 0 && found - at <= 64) at = found + wanted.length
  }
  return at
}
