export interface Snippet {
  page: string
  /** Of the first line of code, from 1. */
  line: number
  language: string
  code: string
  isProgram: boolean
  /** Why a program is not run. */
  notRun?: string
}
export function pages(): string[]
export function snippetsOf(page: string, languages?: string[]): Snippet[]
export function prepareProject(folder: string): string
export function runProgram(snippet: Snippet, folder: string): string
