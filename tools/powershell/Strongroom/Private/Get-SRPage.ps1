function Get-SRPage {
    <#
    .SYNOPSIS
        The items of a list, page by page: what comes after in the pipeline may stop it early.
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory)]
        [string] $Path,

        [Parameter(Mandatory)]
        [string] $TypeName,

        [hashtable] $Query = @{}
    )

    $after = ''
    do {
        $page = Invoke-SRRequest -Method Get -Path $Path -Query ($Query + @{ limit = 200; after = $after })
        $page.items | Add-SRType -TypeName $TypeName
        $after = $page.next
    } while ($after)
}
