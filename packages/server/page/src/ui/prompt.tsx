/** Prompt and negative prompt: counts tokens while typing, marks text that does not fit, and has keys for weights and earlier prompts. */
import { useSignal } from '@preact/signals'
import { useEffect, useId, useRef } from 'preact/hooks'
import type { TokenizeResult } from '../api/client.js'
import { negativeTokens, prompts, promptTokens, set, settings, typed } from '../state/settings.js'
import { changeWeight } from '../tools/prompt-weight.js'
import { endOfTokens } from '../tools/token-marks.js'
import { IconButton } from './parts.js'

type Field = 'prompt' | 'negativePrompt'

function count(result: TokenizeResult | undefined, text: string): string {
  if (text === '') return ''
  if (!result) return ''
  const { tokens, window, windows, truncated } = result
  if (truncated) return `${tokens} of ${window} tokens: the end does not fit`
  return windows > 1 ? `${tokens} tokens, ${windows} windows` : `${tokens} / ${window} tokens`
}

/** A copy of the text behind the input, to mark the part that is cut off. */
function Marks({ text, result }: { text: string; result: TokenizeResult }) {
  const end = endOfTokens(
    text,
    result.chunks.flatMap((chunk) => chunk.text),
  )
  return (
    <div class="marks" aria-hidden="true">
      {text.slice(0, end)}
      <mark>{text.slice(end)}</mark>
    </div>
  )
}

export function PromptField({ field, label, hint, rows }: { field: Field; label: string; hint: string; rows: number }) {
  const id = useId()
  const area = useRef<HTMLTextAreaElement>(null)
  const recalled = useSignal(-1)
  const draft = useRef('')
  const selection = useRef<[number, number]>(undefined)
  const text = settings.value[field]
  const result = (field === 'prompt' ? promptTokens : negativeTokens).value

  // As high as the text, within the limits of the style.
  useEffect(() => {
    const element = area.current
    if (!element) return
    element.style.height = 'auto'
    element.style.height = `${element.scrollHeight + 2}px`
    if (selection.current) element.setSelectionRange(...selection.current)
    selection.current = undefined
  }, [text])

  const recall = (by: number) => {
    const list = prompts.value
    const next = Math.min(list.length - 1, Math.max(-1, recalled.value + by))
    if (next === recalled.value) return
    if (recalled.value < 0) draft.current = text
    recalled.value = next
    set({ [field]: next < 0 ? draft.current : list[next] })
  }
  const weigh = (element: HTMLTextAreaElement, by: number) => {
    const edited = changeWeight(text, element.selectionStart, element.selectionEnd, by)
    if (!edited) return
    selection.current = [edited.start, edited.end]
    set({ [field]: edited.text })
  }
  const onKeyDown = (event: KeyboardEvent & { currentTarget: HTMLTextAreaElement }) => {
    if (event.key !== 'ArrowUp' && event.key !== 'ArrowDown') return
    const isUp = event.key === 'ArrowUp'
    if (event.ctrlKey || event.metaKey) weigh(event.currentTarget, isUp ? 0.1 : -0.1)
    else if (event.altKey && field === 'prompt') recall(isUp ? 1 : -1)
    else return
    event.preventDefault()
  }
  return (
    <div class="field prompt-field">
      <div class="label-line">
        <label for={id}>{label}</label>
        <span id={`${id}-count`} class={result?.truncated ? 'count warn' : 'count'}>
          {count(result, text)}
        </span>
      </div>
      <div class="marked">
        {result?.truncated && <Marks text={text} result={result} />}
        <textarea
          id={id}
          ref={area}
          rows={rows}
          value={text}
          placeholder={hint}
          aria-describedby={`${id}-count`}
          spellcheck={field === 'prompt'}
          onKeyDown={onKeyDown}
          onInput={(event) => {
            typed.value = true
            recalled.value = -1
            set({ [field]: event.currentTarget.value })
          }}
        />
      </div>
    </div>
  )
}

/** Earlier prompts, newest first. */
export function History() {
  const isOpen = useSignal(false)
  const list = prompts.value
  if (list.length === 0) return null
  return (
    <div
      class="menu"
      onFocusOut={(event) => !event.currentTarget.contains(event.relatedTarget as Node | null) && (isOpen.value = false)}
      onKeyDown={(event) => {
        if (event.key !== 'Escape' || !isOpen.value) return
        event.stopPropagation()
        isOpen.value = false
      }}
    >
      <IconButton icon="history" label="Earlier prompts" pressed={isOpen.value} onClick={() => (isOpen.value = !isOpen.value)} />
      {isOpen.value && (
        <ul class="menu-list" aria-label="Earlier prompts">
          {list.map((prompt) => (
            <li key={prompt}>
              <button
                type="button"
                onClick={() => {
                  set({ prompt })
                  isOpen.value = false
                }}
              >
                {prompt}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}
