function Invoke-SRRequest {
    <#
    .SYNOPSIS
        One call of the REST API: the decoded answer, or a terminating error with the problem's code.

    .NOTES
        Path is a template of the OpenAPI document; Parameter fills its {names}.
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)]
        [ValidateSet('Get', 'Post')]
        [string] $Method,

        [Parameter(Mandatory)]
        [string] $Path,

        [hashtable] $Parameter = @{},

        [hashtable] $Query = @{},

        [hashtable] $Form,

        [object] $Connection = $script:Connection
    )

    if ($null -eq $Connection) {
        $message = 'There is no connection. Use Connect-SRServer first.'
        $PSCmdlet.ThrowTerminatingError((New-SRErrorRecord -Status 401 -Code 'not-connected' -Message $message))
    }
    $target = $Path
    foreach ($name in $Parameter.Keys) {
        $target = $target.Replace("{$name}", [uri]::EscapeDataString([string] $Parameter[$name]))
    }
    $pairs = foreach ($name in $Query.Keys) {
        if ($null -ne $Query[$name] -and '' -ne $Query[$name]) {
            "$name=$([uri]::EscapeDataString([string] $Query[$name]))"
        }
    }
    if ($pairs) {
        $target = "$($target)?$($pairs -join '&')"
    }

    $request = [System.Net.Http.HttpRequestMessage]::new($Method.ToUpperInvariant(), "$($Connection.BaseUri)$target")
    $response = $null
    try {
        $request.Headers.Accept.ParseAdd('application/json')
        if ($Form) {
            $fields = [System.Collections.Generic.Dictionary[string, string]]::new()
            foreach ($name in $Form.Keys) {
                $fields[$name] = $Form[$name]
            }
            $request.Content = [System.Net.Http.FormUrlEncodedContent]::new($fields)
        }
        if ($Connection.Token) {
            $token = ConvertFrom-SecureString -SecureString $Connection.Token -AsPlainText
            $request.Headers.Authorization = [System.Net.Http.Headers.AuthenticationHeaderValue]::new('Bearer', $token)
        }
        $response = $Connection.Client.Send($request)
        $text = $response.Content.ReadAsStringAsync().GetAwaiter().GetResult()
    }
    catch {
        $inner = $_.Exception.GetBaseException()
        $message = "The server at $($Connection.BaseUri) cannot be reached: $($inner.Message)"
        $PSCmdlet.ThrowTerminatingError((New-SRErrorRecord -Status 503 -Code 'unreachable' -Message $message))
    }
    finally {
        $request.Dispose()
    }

    $status = [int] $response.StatusCode
    $response.Dispose()
    $answer = $null
    try {
        if ($text) {
            $answer = ConvertFrom-Json -InputObject $text
        }
    }
    catch {
        Write-Debug "The answer is no JSON: $($_.Exception.Message)"
    }
    if ($status -ge 200 -and $status -lt 300) {
        return $answer
    }
    $code = 'http-error'
    $message = "The server answered $status."
    if ($null -ne $answer -and $answer.PSObject.Properties['detail']) {
        $code = $answer.code
        $message = $answer.detail
    }
    $PSCmdlet.ThrowTerminatingError((New-SRErrorRecord -Status $status -Code $code -Message $message -Target $target))
}
