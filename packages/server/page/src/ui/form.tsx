/** The form with all settings. */
import type { ComponentChildren } from 'preact'
import { useId } from 'preact/hooks'
import { useComputed } from '@preact/signals'
import { upscalers } from '../../../../../lib/infotext/words.js'
import { active, cancel, generate, running } from '../state/jobs.js'
import { isNarrow } from '../state/looks.js'
import { sayError } from '../state/say.js'
import { choose, details, models, server } from '../state/server.js'
import { estimate, isSized, randomSeed, readsText, seedLocked, set, settings, trouble, takesDepth, takesHires } from '../state/settings.js'
import { start } from '../state/start-picture.js'
import { bytes } from '../tools/format.js'
import { Icon } from './icons.js'
import { IconButton, NumberField, SelectField } from './parts.js'
import { History, PromptField } from './prompt.js'
import { StartPictureField } from './start-picture.js'

export const command = /Mac|iPhone|iPad/.test(navigator.userAgent) ? '⌘' : 'Ctrl'

function Group({ title, children }: { title: string; children: ComponentChildren }) {
  const id = useId()
  return (
    <section class="group" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  )
}

export function ModelField() {
  const list = models.value
  return (
    <SelectField
      label="Model"
      value={details.value?.name ?? ''}
      options={list.map(({ name, loaded, bytes: size }) => [name, `${name}${size ? ` · ${bytes(size)}` : ''}${loaded ? ' · loaded' : ''}`])}
      onChange={(name) => void choose(name).catch(sayError)}
    />
  )
}

const shapes = [
  ['Square', 1, 1],
  ['Portrait', 3, 4],
  ['Landscape', 4, 3],
  ['Tall', 9, 16],
  ['Wide', 16, 9],
] as const

/** Sizes with the model's area in common aspect ratios. */
function presets({ width, height }: { width: number; height: number }, multiple: number) {
  const area = width * height
  const rounded = (pixels: number) => Math.max(multiple, Math.round(pixels / multiple) * multiple)
  const all = shapes.map(([title, a, b]) => ({ title, width: rounded(Math.sqrt((area * a) / b)), height: rounded(Math.sqrt((area * b) / a)) }))
  return [...all, { title: '2×', width: width * 2, height: height * 2 }]
}

function Size() {
  const { width, height } = settings.value
  const model = details.value
  if (!model) return null
  const { sizeMultiple } = model
  const limit = server.value?.limits.maxPixels ?? Infinity
  const fields = { min: sizeMultiple, max: 8192, step: sizeMultiple, plain: true }
  return (
    <>
      {isSized.value && (
        <div class="chips" role="group" aria-label="Sizes">
          {presets(model.defaults, sizeMultiple)
            .filter((size) => size.width * size.height <= limit)
            .map((size) => (
              <button
                key={size.title}
                type="button"
                class="chip"
                aria-pressed={size.width === width && size.height === height}
                title={`${size.width} × ${size.height}`}
                onClick={() => set({ width: size.width, height: size.height })}
              >
                {size.title}
              </button>
            ))}
        </div>
      )}
      <div class="row size-row">
        {isSized.value && (
          <>
            <NumberField label="Width" value={width} onChange={(value) => set({ width: value })} {...fields} />
            <IconButton icon="swap" label="Swap width and height" onClick={() => set({ width: height, height: width })} />
            <NumberField label="Height" value={height} onChange={(value) => set({ height: value })} {...fields} />
          </>
        )}
        <NumberField
          label="Images"
          value={settings.value.count}
          min={1}
          max={server.value?.limits.maxCount ?? 8}
          plain
          onChange={(count) => set({ count: Math.max(1, Math.round(count)) })}
        />
      </div>
    </>
  )
}

function Memory() {
  const cost = estimate.value
  if (!cost) return <p class="note"> </p>
  const whole = cost.peakBytes + cost.processBytes
  const share = Math.min(1, whole / Math.max(1, cost.freeBytes + cost.processBytes))
  const isTight = whole > cost.freeBytes
  return (
    <div class={isTight ? 'memory warn' : 'memory'}>
      <div class="meter" aria-hidden="true">
        <span style={{ width: `${Math.max(1, share * 100)}%` }} />
      </div>
      <p class="note" role={isTight ? 'alert' : undefined}>
        {isTight ? 'May not fit: about ' : 'About '}
        <strong>{bytes(cost.peakBytes)}</strong> for this image, {bytes(cost.freeBytes)} free
      </p>
    </div>
  )
}

function Sampling() {
  const model = details.value
  if (!model) return null
  const { steps, guidanceScale, imageGuidanceScale, sampler, schedule } = settings.value
  const named = (names: readonly string[]) => names.map((name) => [name, model.labels[name] ?? name] as const)
  const own = model.defaultSchedules[sampler]
  const usual = own === undefined ? 'Automatic' : `Automatic (${model.labels[own] ?? own})`
  return (
    <>
      <NumberField
        label="Steps"
        value={steps}
        min={1}
        max={Math.min(150, server.value?.limits.maxSteps ?? 150)}
        onChange={(value) => set({ steps: Math.round(value) })}
      />
      {model.condition.guidance !== false && (
        <NumberField label="Guidance" value={guidanceScale} min={1} max={20} step={0.5} onChange={(value) => set({ guidanceScale: value })} />
      )}
      {model.kind === 'edit' && (
        <NumberField
          label="Image guidance"
          value={imageGuidanceScale}
          min={1}
          max={5}
          step={0.1}
          onChange={(value) => set({ imageGuidanceScale: value })}
        />
      )}
      <div class="row">
        <SelectField label="Sampler" value={sampler} options={named(model.samplers)} onChange={(value) => set({ sampler: value })} />
        <SelectField
          label="Schedule"
          value={schedule}
          options={[['', usual], ...named(model.schedules)]}
          onChange={(value) => set({ schedule: value })}
        />
      </div>
    </>
  )
}

function Seed() {
  const id = useId()
  const { seed } = settings.value
  return (
    <div class="field">
      <label for={id}>Seed</label>
      <div class="seed">
        <input
          id={id}
          inputMode="numeric"
          pattern="[0-9]*"
          maxLength={20}
          value={seed}
          autocomplete="off"
          onInput={(event) => {
            set({ seed: event.currentTarget.value.replace(/\D/g, '') })
            seedLocked.value = true
          }}
          onChange={(event) => event.currentTarget.value === '' && set({ seed: String(randomSeed()) })}
        />
        <IconButton icon="dice" label="New random seed" onClick={() => set({ seed: String(randomSeed()) })} />
        <IconButton
          icon={seedLocked.value ? 'lock' : 'unlock'}
          label="Keep this seed"
          pressed={seedLocked.value}
          onClick={() => (seedLocked.value = !seedLocked.value)}
        />
      </div>
    </div>
  )
}

/** Fields that few people need. */
function Advanced() {
  const id = useId()
  const { variationSeed, variationStrength, hiresScale, hiresStrength, hiresUpscaler } = settings.value
  return (
    <details class="more">
      <summary>Advanced</summary>
      <div class="fields">
        {takesHires.value && !start.value && (
          <NumberField label="Hires scale" value={hiresScale} min={1} max={4} step={0.25} onChange={(value) => set({ hiresScale: value })} />
        )}
        {takesHires.value && !start.value && hiresScale > 1 && (
          <>
            <NumberField
              label="Hires strength"
              value={hiresStrength}
              min={0.05}
              max={1}
              step={0.05}
              onChange={(value) => set({ hiresStrength: value })}
            />
            <SelectField label="Hires upscaler" value={hiresUpscaler} options={upscalers} onChange={(value) => set({ hiresUpscaler: value })} />
          </>
        )}
        <NumberField
          label="Variation strength"
          value={variationStrength}
          min={0}
          max={1}
          step={0.05}
          onChange={(value) => set({ variationStrength: value })}
        />
        {variationStrength > 0 && (
          <div class="field">
            <label for={id}>Variation seed</label>
            <div class="seed">
              <input
                id={id}
                inputMode="numeric"
                pattern="[0-9]*"
                maxLength={20}
                placeholder="random"
                value={variationSeed}
                autocomplete="off"
                onInput={(event) => set({ variationSeed: event.currentTarget.value.replace(/\D/g, '') })}
              />
              <IconButton icon="dice" label="New random variation seed" onClick={() => set({ variationSeed: String(randomSeed()) })} />
            </div>
          </div>
        )}
      </div>
    </details>
  )
}

function ClassField() {
  const id = useId()
  const classes = details.value?.classes ?? []
  return (
    <div class="field">
      <label for={id}>Class</label>
      <input id={id} list={`${id}-list`} value={settings.value.classId} onInput={(event) => set({ classId: event.currentTarget.value })} />
      <datalist id={`${id}-list`}>
        {classes.map((name, i) => (
          <option key={i} value={name} />
        ))}
      </datalist>
    </div>
  )
}

/** The button that starts a job or explains why it cannot. */
export function Actions() {
  const problem = trouble.value
  const job = running.value
  const waits = useComputed(() => active.value.length)
  return (
    <div class="actions">
      {problem !== undefined && details.value && (
        <p class="note warn" id="trouble">
          {problem}
        </p>
      )}
      <div class="row">
        <button type="submit" class="button primary" aria-describedby={problem === undefined ? undefined : 'trouble'} title={`${command}+Enter`}>
          <Icon name="spark" />
          {waits.value > 0 ? 'Add to queue' : 'Generate'}
          <kbd aria-hidden="true">{command} ↵</kbd>
        </button>
        {job && (
          <button type="button" class="button" title="Escape" onClick={() => void cancel(job.key)}>
            <Icon name="close" />
            Cancel
          </button>
        )}
      </div>
    </div>
  )
}

/** Less used settings, collapsed in narrow layouts. */
function More() {
  return (
    <>
      <Group title={takesDepth.value ? 'Depth map' : 'Start image'}>
        <StartPictureField />
        {start.value && isSized.value && !takesDepth.value && (
          <NumberField label="Strength" value={settings.value.strength} min={0.05} max={1} step={0.05} onChange={(strength) => set({ strength })} />
        )}
      </Group>
      <Group title="Size">
        <Size />
        <Memory />
      </Group>
      <Group title="Sampling">
        <Sampling />
        <Seed />
        <Advanced />
      </Group>
    </>
  )
}

export function Form() {
  const kind = details.value?.kind
  return (
    <form
      class="form"
      aria-label="Settings"
      onSubmit={(event) => {
        event.preventDefault()
        void generate()
      }}
    >
      <div class="form-fields">
        <section class="group" aria-label="What to draw">
          {models.value.length > 1 && <ModelField />}
          {readsText.value && (
            <>
              <div class="with-menu">
                <PromptField field="prompt" label="Prompt" hint="What should be in the image?" rows={3} />
                <History />
              </div>
              {kind !== 'rdm' && <PromptField field="negativePrompt" label="Negative prompt" hint="What should not be in it?" rows={1} />}
            </>
          )}
          {kind === 'class' && <ClassField />}
        </section>
        {isNarrow.value ? (
          <details class="more">
            <summary>{takesDepth.value ? 'Depth map' : 'Start image'}, size and sampling</summary>
            <More />
          </details>
        ) : (
          <More />
        )}
      </div>
      <Actions />
    </form>
  )
}
