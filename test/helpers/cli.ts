import { PassThrough } from 'node:stream'
import { main } from '../../lib/cli/main'

export interface CliResult {
  code: number
  stdout: string
  stderr: string
}

/** Runs a command line in this process. */
export async function cli(argv: string[], signal: AbortSignal = new AbortController().signal): Promise<CliResult> {
  const collect = () => {
    const stream = new PassThrough()
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    return { stream, text: () => Buffer.concat(chunks).toString('utf8') }
  }
  const [out, err] = [collect(), collect()]
  const code = await main(argv, { stdout: out.stream, stderr: err.stream, signal })
  return { code, stdout: out.text(), stderr: err.text() }
}
