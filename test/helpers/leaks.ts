/** What an answer of a server must not contain: places of the machine that it runs on, and how its code was called. */
import os from 'node:os'
import path from 'node:path'

/** Folders that any answer could name: of the sources, of the user, of temporary files, of Node.js. */
const ownFolders = [process.cwd(), os.homedir(), os.tmpdir(), path.dirname(process.execPath)].filter((folder) => folder !== path.parse(folder).root)

const tracks: readonly [RegExp, string][] = [
  [/node_modules/, 'node_modules'],
  [/\bnode:internal\b/, 'a module of Node.js'],
  [/(?:^|\\n|\n)\s+at (?:async )?[\w.<>[\] ]*\(?(?:\/|[A-Za-z]:\\|file:|node:|<anonymous>)/, 'a stack trace'],
  [/\bat (?:async )?(?:Object|Function|Module|process|new|\w+\.\w+)[.\w<> ]* \(/, 'a stack trace'],
]

/** The ways in which a text may spell a folder: as it is, with escaped separators as in JSON, as a URL. */
const spellings = (folder: string) => [folder, folder.replaceAll('\\', '\\\\'), folder.replaceAll('\\', '/'), encodeURI(folder)]

/** Images are searched as bytes, for their texts: in base64, four characters of a short path come about by chance. */
const decoded = (text: string) => text.replace(/[A-Za-z0-9+/]{200,}={0,2}/g, (run) => Buffer.from(run, 'base64').toString('latin1'))

/** What a body or a header gives away. `secrets`: further texts that must not be in it. */
export function leaksIn(
  { headers = {}, text }: { headers?: Readonly<Record<string, string | string[] | undefined>>; text: string },
  secrets: readonly string[] = [],
): string[] {
  const all = decoded(`${Object.entries(headers).flat(2).join('\n')}\n\n${text}`)
  const found = [...ownFolders, ...secrets].filter((secret) => spellings(secret).some((each) => all.includes(each)))
  return [...found, ...tracks.flatMap(([pattern, name]) => (pattern.test(all) ? [name] : []))]
}
