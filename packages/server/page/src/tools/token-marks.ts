/** Finds the end of a text encoder window in a prompt from the texts of its tokens. */

/** Markers for ends (CLIP) or insides (BERT) of words in vocabularies. */
const spelled = (token: string) => token.replace(/<\/w>$/, '').replace(/^##/, '')

/** The index after the last token found, in order; tokens that do not occur verbatim in the prompt are skipped. */
export function endOfTokens(prompt: string, tokens: readonly string[]): number {
  const text = prompt.toLowerCase()
  let at = 0
  for (const token of tokens) {
    const wanted = spelled(token).toLowerCase()
    const found = wanted === '' ? -1 : text.indexOf(wanted, at)
    // A match further away is a different word: only spaces and emphasis marks may be skipped.
    if (found >= 0 && found - at <= 64) at = found + wanted.length
  }
  return at
}
