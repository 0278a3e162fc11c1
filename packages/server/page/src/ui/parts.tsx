/** Small components of the page. */
import type { ComponentChildren } from 'preact'
import { useId, useLayoutEffect, useRef } from 'preact/hooks'
import { hush, said } from '../state/say.js'
import { Icon, type IconName } from './icons.js'

export interface IconButtonProps {
  icon: IconName
  label: string
  onClick: () => void
  pressed?: boolean
  disabled?: boolean
  class?: string
  /** Shown next to the icon. */
  text?: string
}

export function IconButton({ icon, label, onClick, pressed, disabled, class: more = '', text }: IconButtonProps) {
  return (
    <button
      type="button"
      class={`${text === undefined ? 'icon-button' : 'button'} ${more}`}
      title={label}
      aria-label={text === undefined ? label : undefined}
      aria-pressed={pressed}
      disabled={disabled}
      onClick={onClick}
    >
      <Icon name={icon} />
      {text}
    </button>
  )
}

export interface NumberFieldProps {
  label: string
  value: number
  min: number
  max: number
  step?: number
  onChange: (value: number) => void
  /** Without a slider. */
  plain?: boolean
}

/** A number, as a slider and as text. Incomplete input is ignored until it is valid. */
export function NumberField({ label, value, min, max, step = 1, onChange, plain }: NumberFieldProps) {
  const id = useId()
  const take = (text: string) => {
    const given = Number(text)
    if (text.trim() !== '' && Number.isFinite(given)) onChange(given)
  }
  const settle = (text: string) => {
    const given = Number(text)
    onChange(Math.min(max, Math.max(min, text.trim() !== '' && Number.isFinite(given) ? given : value)))
  }
  return (
    <div class={plain ? 'field' : 'field field-range'}>
      <label for={id}>{label}</label>
      <input
        id={id}
        type="number"
        inputMode={step < 1 ? 'decimal' : 'numeric'}
        {...{ min, max, step, value }}
        onInput={(event) => take(event.currentTarget.value)}
        onChange={(event) => settle(event.currentTarget.value)}
      />
      {!plain && (
        <input
          type="range"
          aria-label={`${label}, slider`}
          {...{ min, max, step, value }}
          style={{ '--share': `${(100 * (Math.min(max, value) - min)) / (max - min)}%` }}
          onInput={(event) => take(event.currentTarget.value)}
        />
      )}
    </div>
  )
}

export interface SelectFieldProps {
  label: string
  value: string
  options: readonly (readonly [value: string, title: string])[]
  onChange: (value: string) => void
}

export function SelectField({ label, value, options, onChange }: SelectFieldProps) {
  const id = useId()
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map(([name, title]) => (
          <option key={name} value={name} selected={name === value}>
            {title}
          </option>
        ))}
      </select>
    </div>
  )
}

/**
 * Shown and announced to screen readers. Always rendered, because a live region that appears together with its text is not announced; in dialogs as well,
 * because they make the rest of the page inert.
 */
export function Status() {
  const now = said.value
  return (
    <div class="toast" role="status" aria-live="polite">
      {now && (
        <p class={now.bad ? 'warn' : ''}>
          {now.text}
          <button type="button" class="icon-button" aria-label="Dismiss" onClick={hush}>
            ×
          </button>
        </p>
      )}
    </div>
  )
}

/** A dialog that is open while it is rendered. */
export function Dialog({
  title,
  onClose,
  onKeyDown,
  class: more = '',
  children,
}: {
  title: string
  onClose: () => void
  onKeyDown?: (event: KeyboardEvent) => void
  class?: string
  children: ComponentChildren
}) {
  const element = useRef<HTMLDialogElement>(null)
  const id = useId()
  // Before the browser paints: a key pressed at the sight of the dialog is for the dialog.
  useLayoutEffect(() => {
    const dialog = element.current
    if (dialog && !dialog.open) dialog.showModal()
    return () => dialog?.close()
  }, [])
  return (
    <dialog
      ref={element}
      class={more}
      aria-labelledby={id}
      onKeyDown={onKeyDown}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onClick={(event) => event.target === element.current && onClose()}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2 id={id}>{title}</h2>
          <IconButton icon="close" label="Close" onClick={onClose} />
        </header>
        {children}
      </div>
      <Status />
    </dialog>
  )
}

/** A button that opens a file chooser. */
export function FileButton({
  label,
  accept,
  onFile,
  icon,
  class: more = 'button',
}: {
  label: string
  accept: string
  onFile: (file: File) => void
  icon?: IconName
  class?: string
}) {
  const input = useRef<HTMLInputElement>(null)
  return (
    <>
      <button type="button" class={more} onClick={() => input.current?.click()}>
        {icon && <Icon name={icon} />}
        {label}
      </button>
      <input
        ref={input}
        type="file"
        hidden
        accept={accept}
        onChange={(event) => {
          const file = event.currentTarget.files?.[0]
          event.currentTarget.value = ''
          if (file) onFile(file)
        }}
      />
    </>
  )
}

export function save(file: Blob, name: string): void {
  const link = document.createElement('a')
  const url = URL.createObjectURL(file)
  Object.assign(link, { href: url, download: name }).click()
  // By then the browser has read it.
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
