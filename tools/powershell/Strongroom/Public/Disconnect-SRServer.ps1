function Disconnect-SRServer {
    <#
    .SYNOPSIS
        Signs out: the server forgets the access token.

    .DESCRIPTION
        Without a connection it does nothing.

    .EXAMPLE
        Disconnect-SRServer

        Ends the connection that Connect-SRServer made.
    #>
    [CmdletBinding(SupportsShouldProcess, ConfirmImpact = 'Low')]
    param()

    if ($null -eq $script:Connection) {
        return
    }
    if (-not $PSCmdlet.ShouldProcess($script:Connection.Server, 'Sign out')) {
        return
    }
    try {
        $null = Invoke-SRRequest -Method Post -Path '/token/revoke'
    }
    catch {
        # The token may have expired, the server may be away: here it is forgotten in any case.
        Write-Verbose "The server did not confirm: $($_.Exception.Message)"
    }
    finally {
        $script:Connection.Client.Dispose()
        $script:Connection = $null
    }
}
