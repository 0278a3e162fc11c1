/** Names of samplers and schedules in AUTOMATIC1111's web UI. */
import type { PipelineInfo } from 'node-latent-diffusion'

/** Its names that differ from our labels. */
const schedulerWords: Readonly<Record<string, string>> = {
  normal: 'Uniform',
  sgm_uniform: 'SGM Uniform',
  kl_optimal: 'KL Optimal',
  ays: 'Align Your Steps',
  ddim_uniform: 'DDIM',
}

export function samplerList({ samplers, labels }: PipelineInfo): { name: string; aliases: string[]; options: Record<string, string> }[] {
  return samplers.map((name) => ({ name: labels[name] ?? name, aliases: [name], options: {} }))
}

export function schedulerList({ schedules, labels }: PipelineInfo) {
  const own = schedules.map((name) => ({
    name,
    label: schedulerWords[name] ?? labels[name] ?? name,
    aliases: null,
    default_rho: name === 'karras' ? 7 : -1,
    need_inner_model: false,
  }))
  return [{ name: 'automatic', label: 'Automatic', aliases: null, default_rho: -1, need_inner_model: false }, ...own]
}

const plain = (name: string) => name.toLowerCase().replaceAll('_', ' ').trim()

function samplerNamed(text: string, { samplers, labels }: PipelineInfo): string | undefined {
  return samplers.find((name) => plain(name) === plain(text) || plain(labels[name] ?? '') === plain(text))
}

/** Undefined for unknown names, null for `Automatic`, the sampler's default. */
export function schedulerNamed(text: string, info: PipelineInfo): string | null | undefined {
  const found = schedulerList(info).find(({ name, label }) => plain(name) === plain(text) || plain(label) === plain(text))
  return found && (found.name === 'automatic' ? null : found.name)
}

/** `DPM++ 2M`, or the older form `DPM++ 2M Karras` with a schedule. */
export function readSampler(text: string, info: PipelineInfo): { sampler: string; schedule?: string } | undefined {
  const sampler = samplerNamed(text, info)
  if (sampler !== undefined) return { sampler }
  for (const { name, label } of schedulerList(info)) {
    if (name === 'automatic' || !plain(text).endsWith(` ${plain(label)}`)) continue
    const rest = samplerNamed(text.trim().slice(0, -label.length - 1), info)
    if (rest !== undefined) return { sampler: rest, schedule: name }
  }
  return undefined
}
